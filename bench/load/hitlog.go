package load

// HitWriter writes the hit log.
type HitWriter struct{}

func (w *HitWriter) write(hits []Hit, names []string) error { return nil }
