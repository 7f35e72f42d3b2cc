package round

import (
	"fmt"
	"slices"
	"strings"

	"isukit"
	"isukit/cmd/internal/ui"
	"isukit/infra/tune"
	"isukit/input"
)

// LoadTunings reads what is shipped and adds the names that are files of the user; it returns the names to go by.
func LoadTunings(names []string) (*tune.Catalog, []string, error) {
	catalog, err := tune.Load(isukit.Assets)
	if err != nil {
		return nil, nil, err
	}
	resolved := make([]string, len(names))
	for i, name := range names {
		resolved[i] = name
		if !strings.ContainsAny(name, ".") {
			continue
		}
		text, err := input.Read(name, tune.MaxFileBytes)
		if err != nil {
			return nil, nil, ui.UsageError(err, "a name with a dot is that of a tuning's file; isukit tune ls lists the shipped ones")
		}
		t, err := catalog.Add(name, text)
		if err != nil {
			return nil, nil, ui.UsageError(err, "docs/tuning-files.md describes the format")
		}
		resolved[i] = t.Name
	}
	return catalog, resolved, nil
}

// TuneHint is what to do where one of the names is no tuning's.
func TuneHint(catalog *tune.Catalog, names []string) string {
	var known []string
	for _, t := range catalog.Tunings {
		known = append(known, t.Name)
	}
	for _, g := range catalog.Groups {
		known = append(known, g.Name)
	}
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		if hint := ui.DidYouMean(name, known); hint != "" {
			return hint
		}
	}
	return "isukit tune ls lists them"
}

// FindTunings returns tunings by name, without those whose risk has to be accepted first.
func FindTunings(names, accepted []string) ([]tune.Tuning, error) {
	catalog, names, err := LoadTunings(names)
	if err != nil {
		return nil, err
	}
	if _, err := catalog.Resolve(accepted); err != nil {
		return nil, ui.UsageError(fmt.Errorf("--accept-risk: %w", err), TuneHint(catalog, accepted))
	}
	tunings, err := catalog.Resolve(names)
	if err != nil {
		return nil, ui.UsageError(err, TuneHint(catalog, names))
	}
	if err := tune.CheckRisks(tunings, accepted); err != nil {
		return nil, ui.UsageError(err, "--accept-risk NAME applies it all the same")
	}
	return tunings, nil
}
