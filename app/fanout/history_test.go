package fanout_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"isukit/app/fanout"
	"isukit/infra/infratest"
)

// TestSessionsReadTheirWritesAndNeverGoBack has clients that each bump rows of their own, and of all, and read them back
// through a session: what is read may never be older than the client's last write, nor than what it read before.
func TestSessionsReadTheirWritesAndNeverGoBack(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startLedger(t, engine, 2)
			pools := []*fanout.Pool{c.open(t, c.config(fanout.ModeOrdered)), c.open(t, c.config(fanout.ModeOrdered))}
			reads := scale(4000) // 25 times that is what the project holds to
			var wg sync.WaitGroup
			var total atomic.Int64
			for client := range 8 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					ctx := fanout.Session(t.Context())
					p := pools[client%2]
					own, seen := 0, 0
					for i := range reads / 8 {
						if i%4 == 0 {
							for _, id := range []int{client, 0} {
								if _, err := p.DB().ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = ?", id); err != nil && retryable(err) != nil {
									t.Error(err)
									return
								} else if err == nil && id == client && client != 0 {
									own++
								}
							}
						}
						var mine, shared int
						if err := p.DB().QueryRowContext(ctx, "SELECT (SELECT n FROM counter WHERE id = ?), (SELECT n FROM counter WHERE id = 0)", client).Scan(&mine, &shared); err != nil {
							t.Error(err)
							return
						}
						total.Add(1)
						if client != 0 && mine != own {
							t.Errorf("client %d reads %d of its own %d writes", client, mine, own)
						}
						if shared < seen {
							t.Errorf("client %d saw %d and then %d", client, seen, shared)
						}
						seen = shared
					}
				}()
			}
			wg.Wait()
			t.Logf("%d reads", total.Load())
		})
	}
}

// TestAppendsKeepOneOrder appends to a few lists from two processes while clients read them, and holds every list that was
// read, on whichever replica, to be a beginning of the final one, in which each acknowledged item is exactly once.
func TestAppendsKeepOneOrder(t *testing.T) {
	const lists = 3
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 2)
			c.execShop(t, "CREATE TABLE list (id INT PRIMARY KEY, items MEDIUMTEXT NOT NULL)", "INSERT INTO list VALUES (0, ''), (1, ''), (2, '')")
			pools := []*fanout.Pool{c.open(t, c.config(fanout.ModeOrdered)), c.open(t, c.config(fanout.ModeOrdered))}
			total := int64(scale(900))
			var next atomic.Int64
			var mu sync.Mutex
			acked, read := map[int64]bool{}, [lists][]string{}
			var wg sync.WaitGroup
			for client := range 12 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					p := pools[client%2]
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					defer cancel()
					for n := next.Add(1); n <= total; n = next.Add(1) {
						id := int(n % lists)
						if _, err := p.DB().ExecContext(ctx, "UPDATE list SET items = CONCAT(items, ?) WHERE id = ?", fmt.Sprint(n, ","), id); err == nil {
							mu.Lock()
							acked[n] = true
							mu.Unlock()
						}
						var items string
						if err := p.DB().GetContext(ctx, &items, "SELECT items FROM list WHERE id = ?", id); err != nil {
							t.Error(err)
							return
						}
						if has(&mu, acked, n) && !strings.Contains(","+items, fmt.Sprint(",", n, ",")) {
							t.Errorf("an append of %d was acknowledged and then not read", n)
						}
						mu.Lock()
						read[id] = append(read[id], items)
						mu.Unlock()
					}
				}()
			}
			wg.Wait()
			if len(acked) == 0 {
				t.Fatal("no append succeeded")
			}
			for id := range lists {
				checkOneOrder(t, c, id, lists, acked, read[id])
			}
		})
	}
}

func checkOneOrder(t *testing.T, c *cluster, id, lists int, acked map[int64]bool, read []string) {
	t.Helper()
	final := c.rows(t, 0, fmt.Sprintf("SELECT items FROM list WHERE id = %d", id))[0]
	if other := c.rows(t, 1, fmt.Sprintf("SELECT items FROM list WHERE id = %d", id))[0]; other != final {
		t.Errorf("list %d is %q on r1 and %q on r2", id, final, other)
	}
	for _, items := range read {
		if !strings.HasPrefix(final, items) {
			t.Errorf("list %d was read as %q, which is no beginning of %q", id, items, final)
		}
	}
	for n := range acked {
		if int(n)%lists == id && strings.Count(","+final, fmt.Sprint(",", n, ",")) != 1 {
			t.Errorf("item %d is in its list %d times", n, strings.Count(","+final, fmt.Sprint(",", n, ",")))
		}
	}
}

func has(mu *sync.Mutex, set map[int64]bool, n int64) bool {
	mu.Lock()
	defer mu.Unlock()
	return set[n]
}
