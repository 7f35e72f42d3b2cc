package round

import (
	"context"

	"isukit/infra/doctor"
	"isukit/infra/metrics"
)

// quickDoctor runs the quick checks on the project's hosts and databases; what they find beyond notes becomes warnings.
func (r *ProjectRound) quickDoctor(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	for _, text := range examined(ctx, r.tuned.sub, r.lacking) {
		r.warn("%s", text)
	}
}

// warnOfFiles says so once when processes of a name come near to their limit of open files.
func (r *ProjectRound) warnOfFiles(hostName string, s metrics.Sample) {
	for name, p := range s.Processes {
		if !doctor.NearLimit(p.OpenFiles, p.FileLimit) {
			continue
		}
		r.mu.Lock()
		key := hostName + " " + name
		said := r.nearLimit[key]
		r.nearLimit[key] = true
		r.mu.Unlock()
		if !said {
			r.warn("%sfile-limits: %s %s: %d files open of at most %d", doctorMark, hostName, name, p.OpenFiles, p.FileLimit)
		}
	}
}
