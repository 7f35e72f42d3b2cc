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
	err = host.Until(ctx, rebootLimit, time.Second, func(ctx context.Context) error {
		now, err := n.client.check(ctx, "reboot", bootID, nil)
		if err != nil {
			_ = n.client.exit(ctx)
		} else if strings.TrimSpace(now) == strings.TrimSpace(before) {
			err = errors.New("it has not shut down")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reboot %s: %w", n.about.Name, err)
	}
	return nil
}
