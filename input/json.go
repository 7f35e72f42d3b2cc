package input

import "fmt"

// JSONLimits bound what decoding a JSON text may cost: a text of a few bytes a value becomes many times its size.
type JSONLimits struct {
	// Depth is how far arrays and objects may be nested.
	Depth int
	// Objects and Values are how many objects, and values of all kinds, there may be.
	Objects, Values int
}

// CheckJSON is an error for a text above the limits. It allocates nothing, and leaves syntax errors to the decoder.
func CheckJSON(text []byte, limits JSONLimits) error {
	depth, objects, values := 0, 0, 1
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{':
			objects++
			depth++
			values++
		case '[':
			depth++
			values++
		case '}', ']':
			depth--
		case ',':
			values++
		}
		switch {
		case depth > limits.Depth:
			return fmt.Errorf("it is nested more than %d deep", limits.Depth)
		case objects > limits.Objects:
			return fmt.Errorf("it has more than %d objects", limits.Objects)
		case values > limits.Values:
			return fmt.Errorf("it has more than %d values", limits.Values)
		}
	}
	return nil
}
