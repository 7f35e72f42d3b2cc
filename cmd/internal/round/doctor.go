package round

import (
	"context"
	"fmt"
	"time"

	"isukit/infra"
	"isukit/infra/doctor"
)

// quickLook bounds the look before a round.
const quickLook = 15 * time.Second

// quickDoctor runs the quick checks on what a round is about to measure. What it finds beyond notes becomes warnings.
func quickDoctor(ctx context.Context, running *infra.Running) []string {
	ctx, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	seen, err := running.Examine(ctx, infra.ExamineOptions{})
	var warnings []string
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
