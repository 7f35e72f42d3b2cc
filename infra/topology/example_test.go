package topology_test

import (
	"fmt"

	"isukit/infra/topology"
)

// All faults of a file are reported together.
func ExampleParse() {
	_, err := topology.Parse("mine.yaml", []byte(`name: mine
hosts:
  - {name: s1, memory: 1GB, address: 10.0.0.1}
roles:
  proxy: [{host: s1, kind: nginx}]
  web: [{host: s2}]
  api: [{host: s1}]
  db: [{host: s1, engine: mysql}]
`))
	fmt.Println(err)
	// Output:
	// mine.yaml:3:24: memory "1GB": want a whole number with KiB, MiB, GiB or TiB, from 64MiB to 16TiB
	//       - {name: s1, memory: 1GB, address: 10.0.0.1}
	//                            ^
	// mine.yaml:6:16: host "s2" does not exist (have s1)
	//       web: [{host: s2}]
	//                    ^
}
