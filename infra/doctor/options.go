package doctor

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit"
	"isukit/infra/host"
)

// OptionFile is a file that a database server reads its options from, or would if it were as it should.
type OptionFile struct {
	Path string
	// Real is the file that Path leads to; "" where a link leads nowhere.
	Real string
	Text string
	// Mode, Owner and Group are of the real file, Parents of the directories above it, the nearest first.
	Mode         uint32
	Owner, Group int
	Parents      []Directory
	// InDirectory says that !includedir names its directory, which takes files by their suffix.
	InDirectory bool
}

// Directory is one above a file.
type Directory struct {
	Path         string
	Mode         uint32
	Owner, Group int
}

// keys are the options that the file sets for the server, in one spelling.
func (f OptionFile) keys() []string {
	var keys []string
	section := ""
	for line := range strings.Lines(f.Text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[] ")
			continue
		}
		if line == "" || strings.IndexByte("#;!", line[0]) >= 0 || !serverSection(section) {
			continue
		}
		key, _, _ := strings.Cut(line, "=")
		keys = append(keys, strings.ToLower(strings.ReplaceAll(strings.TrimSpace(key), "-", "_")))
	}
	return keys
}

// serverSection tells whether a section of an option file is for the server.
func serverSection(name string) bool {
	for _, prefix := range []string{"mysqld", "mariadbd", "server", "mariadb"} {
		if name == prefix || strings.HasPrefix(name, prefix+"-") {
			return true
		}
	}
	return false
}

// defaultFiles are those that servers of Debian, Ubuntu and Red Hat read when their command line names none.
var defaultFiles = []string{"/etc/my.cnf", "/etc/mysql/my.cnf"}

// maxOptionFiles bounds files that include one another.
const maxOptionFiles = 200

// LookAtOptions reads the option files of a database server, by its command line, and those that they include.
func LookAtOptions(ctx context.Context, at host.Host, p Process) ([]OptionFile, error) {
	next := roots(p)
	inDirectory := map[string]bool{}
	var all []OptionFile
	for len(next) > 0 && len(all) < maxOptionFiles {
		files, err := readFilesOf(ctx, at, next)
		if err != nil {
			return nil, fmt.Errorf("look at option files of %s: %w", p, err)
		}
		next = nil
		for _, f := range files {
			if slices.ContainsFunc(all, func(o OptionFile) bool { return o.Path == f.Path }) {
				continue
			}
			f.InDirectory = inDirectory[path.Dir(f.Path)]
			all = append(all, f)
			if f.InDirectory && !strings.HasSuffix(f.Path, ".cnf") {
				continue // the server does not look into it
			}
			for _, include := range f.includes() {
				if strings.HasSuffix(include, "/") {
					inDirectory[path.Clean(include)] = true
				}
				next = append(next, include)
			}
		}
	}
	return all, nil
}

// roots are the files that a server begins with.
func roots(p Process) []string {
	extra := slices.Clone(defaultFiles)
	for _, arg := range p.Argv {
		switch name, value, _ := strings.Cut(strings.ReplaceAll(arg, "_", "-"), "="); {
		case name == "--no-defaults":
			return nil
		case name == "--defaults-file" && value != "":
			_, value, _ = strings.Cut(arg, "=")
			return []string{value}
		case name == "--defaults-extra-file" && value != "":
			_, value, _ = strings.Cut(arg, "=")
			extra = append(extra, value)
		}
	}
	return extra
}

// includes are the files that the file includes; a directory ends in "/".
func (f OptionFile) includes() []string {
	var list []string
	for line := range strings.Lines(f.Text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "!include":
			list = append(list, words[1])
		case "!includedir":
			list = append(list, strings.TrimSuffix(words[1], "/")+"/")
		}
	}
	return list
}

// readFilesOf reads files of a host with what stands in the way to them.
func readFilesOf(ctx context.Context, at host.Host, paths []string) ([]OptionFile, error) {
	script, err := isukit.Assets.ReadFile("scripts/doctor-files.sh")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: append([]string{"sh", "-c", asRoot, string(script)}, paths...)})
	if err != nil {
		return nil, err
	}
	return parseFiles(string(res.Stdout)), nil
}

func parseFiles(text string) []OptionFile {
	var files []OptionFile
	for _, section := range strings.Split("\n"+text, "\n@file ")[1:] {
		head, body, _ := strings.Cut(section, "\n")
		var f OptionFile
		f.Path, f.Real, _ = strings.Cut(head, "\t")
		about, content, _ := strings.Cut(body, "@text\n")
		content, _, _ = strings.Cut(content, "\n@end")
		for line := range strings.Lines(about) {
			w := strings.Fields(line)
			switch {
			case len(w) == 4 && w[0] == "@mode":
				f.Mode, f.Owner, f.Group = octal(w[1]), int(number(w[2])), int(number(w[3]))
			case len(w) >= 5 && w[0] == "@parent":
				f.Parents = append(f.Parents, Directory{Path: strings.Join(w[4:], " "), Mode: octal(w[1]), Owner: int(number(w[2])), Group: int(number(w[3]))})
			}
		}
		var b strings.Builder
		for line := range strings.Lines(content) {
			b.WriteString(strings.TrimPrefix(line, " "))
		}
		f.Text = b.String()
		if f.Mode == 0 && f.Owner == 0 && f.Real != "" && f.Text == "" && len(f.Parents) == 0 {
			f.Real = "" // readlink -f names what is not there
		}
		if f.Real == "" && !strings.Contains(body, "@mode") && f.Path == "" {
			continue
		}
		files = append(files, f)
	}
	return files
}

func octal(text string) uint32 {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

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
		files, err := readFilesOf(ctx, at, next)
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
