package capture

import "maps"

// Fresh returns a key log with the keys of k and nothing that was learned from captures.
func (k *KeyLog) Fresh() *KeyLog {
	return &KeyLog{secrets: maps.Clone(k.secrets), sessions: map[[32]byte][]byte{}}
}

// Sessions returns how many sessions have a key.
func (k *KeyLog) Sessions() int { return len(k.secrets) }
