package round

import (
	"os"

	"isukit/bench/result"
	"isukit/infra/redact"
)

// Keep lays a round down without the secrets that isukit holds: those in its environment, and those that the caller names.
func Keep(dir string, r *result.Round, secrets []string, files ...result.File) (string, error) {
	if err := MaskValues(r, secrets...); err != nil {
		return "", err
	}
	return result.Write(dir, r, files...)
}

// MaskValues takes the secrets in isukit's environment, and those that the caller names, out of what a pointer leads to.
func MaskValues(v any, secrets ...string) error {
	return redact.Values(v, append(redact.Environment(os.Environ()), secrets...)...)
}

// Mask returns text without secrets: those of known names and shapes, and those in isukit's environment.
func Mask(text string) string {
	return redact.Text(redact.Known(text, redact.Environment(os.Environ())...))
}
