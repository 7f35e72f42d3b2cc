package proc

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// EndGroup kills the processes of p's group that are still there, and returns when they are gone. While p lives, the
// group is surely ours. After its death others of the group may live on (nginx's workers do); then only those are ours
// that stand in the run directory dir, since the number may have come to a stranger.
func EndGroup(ctx context.Context, name string, p ID, dir string) ([]int, error) {
	var ended []int
	killed, empty := map[int]bool{}, 0
	pause := time.Millisecond
	for deadline := time.Now().Add(time.Minute); ; {
		first := p.Alive()
		left := 0
		for _, st := range Group(p.PID) {
			if !first && !killed[st.PID] && !StandsIn(st.PID, dir) {
				continue
			}
			left++
			if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return ended, fmt.Errorf("kill %s (pid %d): %w", name, st.PID, err)
			}
			if !killed[st.PID] {
				killed[st.PID] = true
				ended = append(ended, st.PID)
			}
		}
		// While /proc was read, a process may have started another and ended: that one is seen the next time only.
		if empty++; left > 0 {
			empty = 0
		} else if empty == 2 {
			return ended, nil
		}
		if time.Now().After(deadline) {
			return ended, fmt.Errorf("%s: %d processes of group %d do not end", name, left, p.PID)
		}
		pause = min(2*pause, 50*time.Millisecond) // reading all of /proc is dear
		select {
		case <-ctx.Done():
			return ended, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
