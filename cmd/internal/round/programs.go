package round

import (
	"os"
	"path/filepath"
)

// Beside finds a program of isukit: where the user says, or beside the running one.
func Beside(given, name string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	me, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(me), name), nil
}

// LocalDir is what --local-dir says, or else .local where a checkout has it: here, or above the binary.
func LocalDir(given string) string {
	if given != "" {
		return given
	}
	candidates := []string{".local"}
	if me, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(filepath.Dir(me)), ".local"))
	}
	for _, dir := range candidates {
		if abs, err := filepath.Abs(dir); err == nil {
			if st, err := os.Stat(abs); err == nil && st.IsDir() {
				return abs
			}
		}
	}
	return ""
}
