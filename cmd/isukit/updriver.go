package main

import (
	"github.com/spf13/pflag"

	"isukit/cmd/internal/round"
)

func upDriverFlag(f *pflag.FlagSet, driver *string) {
	f.StringVar(driver, "driver", "", round.DriverHelp+" (default: the driver with a running topology)")
}
