package render

// Sizes are the settings of a database that follow its host.
type Sizes struct {
	BufferPoolBytes int64
	MaxConnections  int
}

const mib = 1 << 20

// databaseSizes gives InnoDB's buffer pool half of the host's memory when the database is alone there, and a quarter
// when it shares it; no more than 1 GiB, which holds the standard dataset several times over, and no less than 64 MiB.
// Connections cost memory too, so a host with less than 2 GiB gets fewer.
func databaseSizes(m Machine, alone bool) Sizes {
	pool := m.MemoryBytes / 4
	if alone {
		pool = m.MemoryBytes / 2
	}
	s := Sizes{BufferPoolBytes: min(max(pool, 64*mib), 1024*mib) / mib * mib, MaxConnections: 500}
	if m.MemoryBytes < 2048*mib {
		s.MaxConnections = 250
	}
	return s
}
