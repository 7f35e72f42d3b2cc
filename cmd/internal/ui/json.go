package ui

import (
	"encoding/json"
	"io"
)

// PrintJSON prints one document, indented.
func PrintJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// PrintJSONLines prints one object a line.
func PrintJSONLines[T any](out io.Writer, list []T) error {
	enc := json.NewEncoder(out)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}
