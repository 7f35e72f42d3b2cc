// Package yaml is the one way in for YAML. Text goes in; decoded values or the syntax tree come out, or an error before the parser
// has seen a text that would cost far more memory than its size: nested too deep, of too many parts, or with aliases that multiply.
// How a value is checked is left to others.
package yaml

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a text may have at most. A token takes some 600 bytes until it is a value.
const (
	MaxBytes     = 4 << 20
	MaxTokens    = 200_000
	MaxDepth     = 100
	MaxDocuments = 100
	// MaxExpanded limits the tokens after each alias is replaced by its content.
	MaxExpanded = 400_000
)

// Decode checks a text and decodes its first document into a value; an empty text leaves the value as it is.
func Decode(text []byte, into any, options ...yaml.DecodeOption) error {
	if err := Check(text); err != nil {
		return err
	}
	return yaml.UnmarshalWithOptions(text, into, options...)
}

// Parse checks a text and returns its syntax tree, without comments.
func Parse(text []byte) (*ast.File, error) {
	if err := Check(text); err != nil {
		return nil, err
	}
	return parser.ParseBytes(text, 0)
}

// Check returns an error for a text that has more than the limits above. Other faults are the parser's to find.
func Check(text []byte) error {
	if len(text) > MaxBytes {
		return fmt.Errorf("it has %d bytes; YAML of at most %d is read", len(text), MaxBytes)
	}
	// The lexer makes at most two tokens for one of these bytes, and one more.
	parts := 0
	for _, c := range text {
		if bytes.IndexByte([]byte("\n\r,:[]{}-?&*!|>%@`#\"'"), c) >= 0 {
			parts++
		}
	}
	if parts > 2*MaxTokens {
		return errTokens
	}
	c := checker{anchors: map[string]int{}}
	for _, t := range lexer.Tokenize(string(text)) {
		if err := c.add(t); err != nil {
			return err
		}
	}
	return nil
}

var errTokens = fmt.Errorf("it has more than %d parts", MaxTokens)

// checker follows the tokens of a text. Where it cannot know how far a node goes, it takes the larger way.
type checker struct {
	columns         []int // of the blocks that are open
	flow            int   // flow sequences and mappings that are open
	line, lineStart int   // the current line, and the column of its first token
	documents       int
	tokens          int
	expanded        int // tokens so far, those of aliases too
	open            []anchor
	anchors         map[string]int // the size of each, in tokens
}

// anchor is one whose node has not ended yet.
type anchor struct {
	name         string
	flow, column int // where its node is
	from         int // expanded at its beginning
}

func (c *checker) add(t *token.Token) error {
	if t.Position.Line != c.line {
		c.line, c.lineStart = t.Position.Line, t.Position.Column
		c.close(t)
	}
	c.tokens++
	c.expanded++
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		c.flow++
	case token.SequenceEndType, token.MappingEndType:
		c.flow = max(0, c.flow-1)
		c.close(t)
	case token.DocumentHeaderType:
		c.documents++
		c.columns = c.columns[:0]
	case token.AnchorType:
		if t.Next != nil {
			c.open = append(c.open, anchor{t.Next.Value, c.flow, c.lineStart, c.expanded})
		}
	case token.AliasType:
		if t.Next != nil {
			c.expanded += c.sizeOf(t.Next.Value)
		}
	}
	if c.flow == 0 {
		for len(c.columns) > 0 && c.columns[len(c.columns)-1] >= t.Position.Column {
			c.columns = c.columns[:len(c.columns)-1]
		}
		c.columns = append(c.columns, t.Position.Column)
	}
	switch {
	case c.tokens > MaxTokens:
		return errTokens
	case len(c.columns)+c.flow > MaxDepth:
		return fmt.Errorf("line %d: it is nested more than %d deep", t.Position.Line, MaxDepth)
	case c.documents > MaxDocuments:
		return fmt.Errorf("line %d: it has more than %d documents", t.Position.Line, MaxDocuments)
	case len(c.open) > MaxDepth:
		return fmt.Errorf("line %d: more than %d anchors are nested", t.Position.Line, MaxDepth)
	case c.expanded > MaxExpanded:
		return fmt.Errorf("its aliases expand to more than %d tokens", MaxExpanded)
	}
	return nil
}

// close ends the anchors whose node ends before t.
func (c *checker) close(t *token.Token) {
	left := c.open[:0]
	for _, a := range c.open {
		column := t.Position.Column
		inside := c.flow > a.flow || c.flow == a.flow && (a.flow > 0 && t.Type != token.SequenceEndType && t.Type != token.MappingEndType ||
			a.flow == 0 && (column > a.column || column == a.column && t.Type == token.SequenceEntryType))
		if inside {
			left = append(left, a)
		} else {
			c.anchors[a.name] = max(c.anchors[a.name], c.expanded-a.from)
		}
	}
	c.open = left
}

// sizeOf is the size of an alias' content. An anchor that is still open may have ended already.
func (c *checker) sizeOf(name string) int {
	size := c.anchors[name]
	for _, a := range c.open {
		if a.name == name {
			size = max(size, c.expanded-a.from)
		}
	}
	return size
}
