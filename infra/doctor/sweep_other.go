//go:build !linux

package doctor

import "isukit/infra/host"

// Probes run on hosts, which are Linux.

func icmpSocket() (fd int, raw bool, err error) { return -1, false, host.ErrUnsupported }

func tcpInfo(int) (mssSent, retransmits int, err error) { return 0, 0, host.ErrUnsupported }
