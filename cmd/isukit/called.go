package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// named finds where a text may name a command of isukit: "isukit round", also in quotes and after sudo.
var named = regexp.MustCompile(`(^|[\s"(])isukit ([a-z]+)`)

// asCalled names isukit in a suggested command as it was called, so that the command can be pasted: by the path that was typed
// where the shell does not find this program by its name.
func asCalled(text string) string {
	name := calledAs(os.Args[0])
	if name == "isukit" {
		return text
	}
	commands := map[string]bool{}
	for _, c := range newRootCmd(streams{}).Commands() {
		commands[c.Name()] = true
	}
	return named.ReplaceAllStringFunc(text, func(found string) string {
		before, command, _ := strings.Cut(found, "isukit ")
		if !commands[command] {
			return found
		}
		return before + name + " " + command
	})
}

// calledAs is what to type for the program that was started as arg0.
func calledAs(arg0 string) string {
	if filepath.Base(arg0) != "isukit" || !strings.Contains(arg0, "/") || samePlace(arg0) {
		return "isukit"
	}
	return shellWord(arg0)
}

// samePlace tells that the shell finds the program arg0 by its name alone.
func samePlace(arg0 string) bool {
	found, err := exec.LookPath("isukit")
	if err != nil {
		return false
	}
	a, errA := os.Stat(arg0)
	b, errB := os.Stat(found)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
