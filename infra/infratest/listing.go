package infratest

import "strings"

// WithoutTests drops the lines of a listing of the machine, e.g. of its namespaces or mounts, that are about what tests of
// any package made for themselves: packages are tested beside one another.
func WithoutTests(listing string) string {
	var kept strings.Builder
	for line := range strings.Lines(listing) {
		// The directory of the namespaces becomes a mount of its own with the first one.
		if !strings.Contains(line, netName) && !strings.Contains(line, tempName) && !strings.Contains(line, " "+netnsDir+" ") && !strings.Contains(line, " /run/netns ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
