package app_test

import (
	"testing"

	"isukit/app/dataset"
	"isukit/infra/infratest"
)

// BenchmarkInitialize resets the data of a standard round; the target is 10 s on two cores.
func BenchmarkInitialize(b *testing.B) {
	for _, engine := range infratest.Engines(b) {
		b.Run(engine, func(b *testing.B) {
			s := newSite(b, engine, dataset.Standard, 1)
			for b.Loop() {
				s.initialize(b)
			}
		})
	}
}
