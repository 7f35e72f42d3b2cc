package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// maxProfileFiles bounds what an AppArmor profile includes.
const maxProfileFiles = 60

// LookAtProfile reads the lines of the AppArmor profile that confines a process, those that it includes among them. root is ""
// but in tests.
func LookAtProfile(ctx context.Context, at host.Host, root string, p Process) ([]string, error) {
	name, _, _ := strings.Cut(p.Profile, " ")
	if name == "" {
		return nil, nil
	}
	dir := root + "/etc/apparmor.d/"
	next := []string{dir + strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")}
	var seen, rules []string
	for len(next) > 0 && len(seen) < maxProfileFiles {
		files, err := engine.ReadFiles(ctx, at, next)
		if err != nil {
			return nil, fmt.Errorf("look at the profile of %s: %w", p, err)
		}
		seen, next = append(seen, next...), nil
		for _, f := range files {
			for line := range strings.Lines(f.Text) {
				rules = append(rules, strings.TrimRight(line, "\n"))
				open, end := strings.IndexByte(line, '<'), strings.IndexByte(line, '>')
				if strings.HasPrefix(strings.TrimLeft(line, " \t#"), "include") && open >= 0 && end > open {
					if file := dir + line[open+1:end]; !slices.Contains(seen, file) && !slices.Contains(next, file) {
						next = append(next, file)
					}
				}
			}
		}
	}
	return rules, nil
}
