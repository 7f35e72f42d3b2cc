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
	s := &Stacks{Unit: "samples", Type: "cpu"}
	seen := map[string]int{}
	var stack []string
	process := ""
	end := func() error {
		if process == "" || process == idleTask {
			process, stack = "", stack[:0]
			return nil
		}
		stack = append(stack, process)
		slices.Reverse(stack)
		key := strings.Join(stack, "\x00")
		at, ok := seen[key]
		if !ok {
			if at = len(s.Stacks); at >= maxStacks {
				return ErrTooLarge
			}
			seen[key] = at
			s.Stacks = append(s.Stacks, Stack{Frames: slices.Clone(stack)})
		}
		s.Stacks[at].Value++
		process, stack = "", stack[:0]
		return nil
	}
	lines := bufio.NewScanner(io.LimitReader(r, 16*maxBytes))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.TrimSpace(line) == "":
			if err := end(); err != nil {
				return nil, err
			}
		case line[0] == '#':
		case process == "":
			process = strings.TrimSpace(line)
		default:
			frame := perfFrame(line)
			if n := len(stack); n == 0 || !strings.HasPrefix(frame, "[") || stack[n-1] != frame {
				stack = append(stack, frame)
			}
		}
	}
	if err := errors.Join(lines.Err(), end()); err != nil {
		return nil, fmt.Errorf("read the output of perf: %w", err)
	}
	return s, nil
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
