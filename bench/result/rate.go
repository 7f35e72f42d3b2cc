package result

// Observed reports whether the round's load was made by somebody else's benchmark, whose command or output the record has.
func (r *Round) Observed() bool { return r.Benchmark.ScoreFrom != "" }

// LoadTook is how long the load phase really lasted, in seconds; what was meant where the record does not say, and 1 where it
// says nothing at all, so that it can be divided by.
func (r *Round) LoadTook() float64 {
	if r.Observed() && r.LoadSeconds > 0 {
		return r.LoadSeconds // its phase may have waited for the end
	}
	for _, p := range r.Phases {
		if p.Name == "load" && p.DurationSeconds > 0 {
			return p.DurationSeconds
		}
	}
	if r.LoadSeconds > 0 {
		return r.LoadSeconds
	}
	return 1
}

// HitsPerSec is the rate of all hits over the load phase as it really lasted.
func (r *Round) HitsPerSec() float64 { return float64(r.All.Hits) / r.LoadTook() }

// Fact is the value of a fact, "" where the round has none of that key.
func (r *Round) Fact(key string) string {
	for _, f := range r.Facts {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}
