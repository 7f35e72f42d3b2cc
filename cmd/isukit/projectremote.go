package main

import (
	"context"
	"errors"

	"isukit/infra/host"
)

// openRemote makes hosts usable that are not this machine.
func (o *openProject) openRemote(_ context.Context, _ []host.Want, _ string) (func(context.Context) error, error) {
	return nil, usageError(errors.New("the driver for hosts over ssh is not part of this build"), "run isukit on the host itself, without an address")
}
