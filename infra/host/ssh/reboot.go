package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"isukit/infra/host"
)

var _ host.Rebooter = (*node)(nil)

// rebootLimit is how long a host may take until it answers again: firmware and file systems of a real one take minutes.
const rebootLimit = 10 * time.Minute

// bootID tells one boot of a host from another.
const bootID = "cat /proc/sys/kernel/random/boot_id"

// Reboot implements host.Rebooter.
func (n *node) Reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rebootLimit, fmt.Errorf("it does not answer within %v of its reboot", rebootLimit))
	defer cancel()
	n.memo.act()
	before, err := n.client.check(ctx, "reboot", bootID, nil)
	if err != nil {
		return err
	}
	res, err := n.client.script(ctx, "systemctl reboot", nil, host.MaxOutputBytes)
	if err == nil && res.Code != 0 && res.Code != sshFailed {
		return fmt.Errorf("reboot %s: %w", n.about.Name, n.client.failure(res))
	}
	if err != nil && !errors.Is(err, host.ErrUnreachable) { // the connection ends with the boot
		return fmt.Errorf("reboot %s: %w", n.about.Name, err)
	}
	_ = n.client.exit(ctx) // the shared connection may wait for a host that is gone
	for last := error(nil); ; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("reboot %s: %w (%w)", n.about.Name, context.Cause(ctx), last)
		case <-time.After(time.Second):
		}
		now, err := n.client.check(ctx, "reboot", bootID, nil)
		if last = err; err == nil && strings.TrimSpace(now) != strings.TrimSpace(before) {
			return nil
		}
		if err != nil {
			_ = n.client.exit(ctx)
		}
	}
}
