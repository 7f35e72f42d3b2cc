package round

import (
	"context"

	"isukit/infra/doctor"
	"isukit/infra/metrics"
	"isukit/infra/subject"
)

// quickDoctor runs the quick checks on the project's hosts and databases; what they find beyond notes becomes warnings.
func (r *ProjectRound) quickDoctor(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	sub, err := subject.OfProject(ctx, r.Project, r.Reach.Named, r.stateDir, false)
	for _, text := range examined(ctx, sub, err) {
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
