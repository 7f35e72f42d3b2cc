package round

import (
	"context"
	"errors"
	"time"

	"isukit/infra/doctor"
	"isukit/infra/metrics"
	"isukit/infra/subject"
)

// quickLook bounds the look before a round.
const quickLook = 15 * time.Second

// quickDoctor runs the quick checks on what a round is about to measure; what they find beyond notes becomes warnings. err says what the
// subject lacks.
func (r *gathering) quickDoctor(ctx context.Context, err error) {
	ctx, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	seen, lookErr := r.tuned.sub.Examine(ctx, subject.ExamineOptions{})
	if err = errors.Join(err, lookErr); err != nil && ctx.Err() == nil {
		r.warn("doctor could not look at everything: %v", err)
	}
	for _, text := range warningsOf(doctor.Diagnose(seen, doctor.Quick())) {
		r.warn("%s", text)
	}
}

// warnOfFiles says so once when processes of a name come near to their limit of open files: at the limit it is too late.
func (r *gathering) warnOfFiles(hostName string, s metrics.Sample) {
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

// doctorMark begins the warnings of a round that are doctor's.
const doctorMark = "doctor: "

// warningsOf are serious findings as a round's warnings.
func warningsOf(findings []doctor.Finding) []string {
	var warnings []string
	for _, f := range findings {
		if f.Severity != doctor.Note {
			warnings = append(warnings, doctorMark+f.String())
		}
	}
	return warnings
}
