package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"isukit/cmd/internal/ui"
)

// driverNames are those of all drivers.
var driverNames = []string{"local", "lab", "ssh"}

// upDriverFlag is --driver of a command about what is up.
func upDriverFlag(f *pflag.FlagSet, driver *string) {
	f.StringVar(driver, "driver", "", driverHelp+" (default: the one with which something is up)")
}

// driversUp are the drivers with which something is up: a topology, or at least hosts. It asks nobody, and what it cannot read is
// not up: the driver itself says why, when it is opened.
func driversUp(stateDir string) (up []string) {
	var bare []string
	for _, name := range driverNames {
		hosts := hostsOnRecord(stateDir, name)
		placed := func(h string) bool {
			_, err := os.Stat(filepath.Join(stateDir, "hosts", name, h, "inventory.json"))
			return err == nil || name == "ssh" // its inventories are on the hosts
		}
		switch {
		case slices.ContainsFunc(hosts, placed):
			up = append(up, name)
		case len(hosts) > 0:
			bare = append(bare, name)
		}
	}
	if len(up) > 0 {
		return up
	}
	return bare
}

// hostsOnRecord are the names of the hosts that a driver has made.
func hostsOnRecord(stateDir, driver string) (names []string) {
	type record struct {
		Want struct {
			Name string `json:"name"`
		} `json:"want"`
	}
	text, err := os.ReadFile(filepath.Join(stateDir, "hosts", driver, "state.json"))
	if err != nil {
		return nil
	}
	var list []record
	if driver == "ssh" {
		err = json.Unmarshal(text, &list)
	} else {
		all := struct{ Hosts *[]record }{&list}
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil
	}
	for _, r := range list {
		names = append(names, r.Want.Name)
	}
	return names
}

// findDriver is the driver that was asked for, or else the one with which something is up; "" where nothing is.
func findDriver(asked, stateDir string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	up := driversUp(stateDir)
	switch len(up) {
	case 0:
		return "", nil
	case 1:
		return up[0], nil
	}
	return "", ui.UsageError(fmt.Errorf("something is up with each of the drivers %s", strings.Join(up, ", ")), "say which one is meant: --driver "+strings.Join(up, " or --driver "))
}
