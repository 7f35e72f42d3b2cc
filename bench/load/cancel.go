package load

import (
	"context"
	"sync"
	"time"
)

// canceler ends a client's blocked read or write with the context. It hooks into a context once, not for each of thousands of requests.
type canceler struct {
	mu   sync.Mutex
	ctx  context.Context
	done <-chan struct{}
	stop func() bool
	cn   *conn // whose deadline to expire
}

// attach makes ctx the context that is watched.
func (k *canceler) attach(ctx context.Context, c *Client) {
	done := ctx.Done()
	if done == k.done {
		k.ctx = ctx
		return
	}
	k.detach(c)
	if done == nil {
		return
	}
	k.mu.Lock()
	k.ctx, k.done = ctx, done
	k.mu.Unlock()
	k.stop = context.AfterFunc(ctx, func() { k.expire(done) })
}

// detach stops watching. The deadlines of the client's connections may have expired; they must be set again.
func (k *canceler) detach(c *Client) {
	if k.stop != nil {
		k.stop()
		k.stop = nil
	}
	k.mu.Lock()
	k.ctx, k.done, k.cn = nil, nil, nil
	k.mu.Unlock()
	for _, cn := range c.conns {
		cn.deadline = time.Time{}
	}
}

// expire ends what the current connection blocks on, if the context that ended is still the one watched.
func (k *canceler) expire(done <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done == done && k.cn != nil {
		k.cn.nc.SetDeadline(time.Unix(1, 0))
	}
}

// watch makes cn the connection to end. Call it after cn's deadline is set and before canceled: when the context ends, either canceled is
// true or expire comes after the deadline and overrides it.
func (k *canceler) watch(cn *conn) {
	if k.cn == cn { // written by this goroutine only
		return
	}
	k.mu.Lock()
	k.cn = cn
	k.mu.Unlock()
}

func (k *canceler) canceled() bool {
	return k.ctx != nil && k.ctx.Err() != nil
}
