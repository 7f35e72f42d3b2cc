package render

import (
	"math"

	"isukit/infra/topology"
)

const mib = 1 << 20

// SizesOf are the sizes of an instance: those of the file, or what follows from the host and its other instances.
func (in Input) SizesOf(i topology.Instance) topology.Sizes {
	s := i.Sizes
	m := in.MachineOf(i.Host)
	limit := func(files int) int {
		if in.MaxFiles > 0 {
			return min(files, in.MaxFiles)
		}
		return files
	}
	switch i.Role {
	case topology.Proxy:
		in.proxySizes(i, m, &s, limit)
	case topology.DB:
		in.databaseSizes(i, m, &s)
		setDefault(&s.Files, limit(32768))
	default:
		setDefault(&s.GOMAXPROCS, ceil(m.CPUs))
		setDefault(&s.DBConnections, in.poolSize())
		setDefault(&s.Files, limit(16384))
	}
	return s
}

func setDefault[T int | int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func ceil(cpus float64) int { return max(1, int(math.Ceil(cpus))) }

func within(low, v, high int) int { return min(max(low, v), high) }

// besidesConnections are descriptors for logs, libraries, timers and listeners, with room to spare.
const besidesConnections = 1024

// proxySizes gives a proxy a worker for each CPU where it is alone, for every other one where it shares its host. Four
// connections are for each MiB of memory (two, where it is shared): a buffered connection takes some tens of KiB. Each takes a
// descriptor for the client, one for the app, and two for files that bodies and answers are buffered in.
func (in Input) proxySizes(i topology.Instance, m Machine, s *topology.Sizes, limit func(int) int) {
	cpus, perMiB := m.CPUs, 4
	if !in.alone(i) {
		cpus, perMiB = cpus/2, 2
	}
	setDefault(&s.Workers, ceil(cpus))
	connections := within(1024, perMiB*int(m.MemoryBytes/mib), 16384)
	if files := max(s.Files, limit(math.MaxInt32)); files < math.MaxInt32 {
		if s.Files > 0 {
			files = s.Files
		}
		connections = min(connections, max(64, (files-besidesConnections)/4))
	}
	setDefault(&s.Connections, connections)
	setDefault(&s.Files, limit(4*s.Connections+besidesConnections))
}

// databaseSizes gives InnoDB's buffer pool half of the host's memory where only databases are on the host and a quarter where
// it is shared, divided by their number, or all but 128 MiB of the memory that the file sets aside; no more than 1 GiB, which holds
// the standard dataset several times over, and no less than 64 MiB. It takes as many connections as the app opens, twice: a
// process that was stopped may still have its own.
func (in Input) databaseSizes(i topology.Instance, m Machine, s *topology.Sizes) {
	databases, others := int64(0), 0
	for _, other := range in.Topology.On(i.Host) {
		if other.Role == topology.DB {
			databases++
		} else {
			others++
		}
	}
	pool := m.MemoryBytes / 2
	if others > 0 {
		pool = m.MemoryBytes / 4
	}
	pool /= max(1, databases)
	if s.MemoryBytes > 0 {
		pool = s.MemoryBytes - 128*mib
	}
	setDefault(&s.BufferPoolBytes, min(max(pool, 64*mib), 1024*mib)/mib*mib)
	apps := 0
	for _, other := range in.Topology.Instances {
		if other.Role == topology.Web || other.Role == topology.API {
			apps += in.SizesOf(other).DBConnections
		}
	}
	setDefault(&s.Connections, max(100, 2*apps+50))
}

// poolSize is how many connections an app process opens to each database: 16 for each CPU of the smallest database host, above
// which a server only queues.
func (in Input) poolSize() int {
	cpus := math.Inf(1)
	for _, db := range in.Topology.Of(topology.DB) {
		cpus = min(cpus, in.MachineOf(db.Host).CPUs)
	}
	return within(16, int(16*cpus), 64)
}
