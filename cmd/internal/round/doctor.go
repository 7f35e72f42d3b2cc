package round

import (
	"context"
	"errors"
	"fmt"
	"time"

	"isukit/infra"
	"isukit/infra/doctor"
	"isukit/infra/subject"
)

// quickLook bounds the look before a round.
const quickLook = 15 * time.Second

// quickDoctor runs the quick checks on what a round is about to measure. What it finds beyond notes becomes warnings.
func quickDoctor(ctx context.Context, running *infra.Running) []string {
	ctx, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	sub, err := running.Subject()
	return examined(ctx, sub, err)
}

// examined are the warnings of the quick checks; err says what the subject lacks.
func examined(ctx context.Context, sub *subject.Subject, err error) (warnings []string) {
	var seen *doctor.Observed
	if sub != nil {
		var lookErr error
		seen, lookErr = sub.Examine(ctx, subject.ExamineOptions{})
		err = errors.Join(err, lookErr)
	}
	if err != nil && ctx.Err() == nil {
		warnings = append(warnings, fmt.Sprintf("doctor could not look at everything: %v", err))
	}
	if seen != nil {
		warnings = append(warnings, warningsOf(doctor.Diagnose(seen, doctor.Quick()))...)
	}
	return warnings
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
