// Package topologies holds the topology files that isukit ships.
package topologies

import "embed"

// Files are the shipped topology files, NAME.yaml.
//
//go:embed *.yaml
var Files embed.FS
