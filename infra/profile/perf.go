package profile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// ParsePerf reads what "perf script -F comm,ip,sym,dso" prints: for every sample a line with the process, then a line for every
// frame, the innermost first, then an empty line. The root of each stack is the process's name. Functions without a symbol are
// named after their file, and those that follow each other are one frame. The kernel's idle task is left out.
func ParsePerf(r io.Reader) (*Stacks, error) {
	p := perf{out: Stacks{Unit: "samples", Type: "cpu"}, seen: map[string]int{}}
	lines := bufio.NewScanner(io.LimitReader(r, 16*maxBytes))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := p.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("read the output of perf: %w", err)
		}
	}
	if err := errors.Join(lines.Err(), p.end()); err != nil {
		return nil, fmt.Errorf("read the output of perf: %w", err)
	}
	return &p.out, nil
}

// perf gathers equal stacks from the lines of perf script.
type perf struct {
	out  Stacks
	seen map[string]int // places in out, by stack
	// process and stack belong to the current sample, the innermost frame first; process is "" between samples.
	process string
	stack   []string
}

func (p *perf) line(line string) error {
	switch {
	case strings.TrimSpace(line) == "":
		return p.end()
	case line[0] == '#':
	case p.process == "":
		p.process = strings.TrimSpace(line)
	default:
		frame := perfFrame(line)
		if n := len(p.stack); n == 0 || !strings.HasPrefix(frame, "[") || p.stack[n-1] != frame {
			p.stack = append(p.stack, frame)
		}
	}
	return nil
}

// end counts the sample that has been read, if there is one.
func (p *perf) end() error {
	stack, process := append(p.stack, p.process), p.process
	p.process, p.stack = "", p.stack[:0]
	if process == "" || process == idleTask {
		return nil
	}
	slices.Reverse(stack)
	key := strings.Join(stack, "\x00")
	at, ok := p.seen[key]
	if !ok {
		if at = len(p.out.Stacks); at >= maxStacks {
			return ErrTooLarge
		}
		p.seen[key] = at
		p.out.Stacks = append(p.out.Stacks, Stack{Frames: slices.Clone(stack)})
	}
	p.out.Stacks[at].Value++
	return nil
}

// idleTask is what perf calls a CPU that has nothing to do.
const idleTask = "swapper"

// perfFrame is the symbol of "    ffffffff81234567 do_syscall_64+0x5b ([kernel.kallsyms])", or the file of a function that has
// none: "[mariadbd]" of "    55aa [unknown] (/usr/sbin/mariadbd)".
func perfFrame(line string) string {
	words := strings.Fields(line)
	if len(words) < 2 {
		return "?"
	}
	symbol := strings.Join(words[1:], " ")
	file := ""
	if i := strings.LastIndex(symbol, " ("); i > 0 {
		symbol, file = symbol[:i], strings.Trim(symbol[i+2:], "()[]")
	}
	if symbol == "[unknown]" && file != "" && file != "unknown" {
		return "[" + path.Base(file) + "]"
	}
	if i := strings.LastIndex(symbol, "+0x"); i > 0 {
		symbol = symbol[:i]
	}
	return symbol
}
