package engine

import (
	"context"
	"strconv"
	"strings"
	"time"

	"isukit"
	"isukit/infra/host"
)

// File is a file of a host.
type File struct {
	Path string
	// Real is the file that Path leads to; "" where a link leads nowhere.
	Real string
	Text string
	// Mode, Owner and Group are those of the real file, Parents of the directories above it, the nearest first.
	Mode         uint32
	Owner, Group int
	Parents      []Directory
}

// Directory is one above a file.
type Directory struct {
	Path         string
	Mode         uint32
	Owner, Group int
}

// FilesOp is what ReadFiles asks a host.
func FilesOp(paths []string) host.Op {
	script, err := isukit.Assets.ReadFile("scripts/doctor-files.sh")
	if err != nil {
		panic(err) // it is in the binary
	}
	return host.Op{Run: &host.Command{Argv: append([]string{"sh", "-c", host.AsRoot, string(script)}, paths...)}}
}

// ReadFiles reads files of a host, with what prevents it. A path that ends in "/" is each file in it; *, ? and [ are patterns.
func ReadFiles(ctx context.Context, at host.Host, paths []string) ([]File, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := at.Run(ctx, *FilesOp(paths).Run)
	if err != nil {
		return nil, err
	}
	return parseFiles(string(res.Stdout)), nil
}

func parseFiles(text string) []File {
	var files []File
	for _, section := range strings.Split("\n"+text, "\n@file ")[1:] {
		head, body, _ := strings.Cut(section, "\n")
		var f File
		f.Path, f.Real, _ = strings.Cut(head, "\t")
		about, content, _ := strings.Cut(body, "@text\n")
		content, _, _ = strings.Cut(content, "\n@end")
		for line := range strings.Lines(about) {
			w := strings.Fields(line)
			switch {
			case len(w) == 4 && w[0] == "@mode":
				f.Mode, f.Owner, f.Group = octal(w[1]), int(decimal(w[2])), int(decimal(w[3]))
			case len(w) >= 5 && w[0] == "@parent":
				f.Parents = append(f.Parents, Directory{Path: strings.Join(w[4:], " "), Mode: octal(w[1]), Owner: int(decimal(w[2])), Group: int(decimal(w[3]))})
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

func decimal(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
