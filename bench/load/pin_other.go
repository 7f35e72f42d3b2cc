//go:build !linux

package load

import "errors"

// Pin restricts the process to some CPUs; it can do so on Linux only.
func Pin([]int) error { return errors.New("pin the generator: only Linux can") }
