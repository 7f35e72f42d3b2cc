package sqltext

import "sync"

// Limits of a Cache: texts beyond them are classified each time.
const (
	maxTexts     = 4096
	maxTextBytes = 16 << 10
	maxAllBytes  = 4 << 20 // what is known of a text takes up to 30 times as much
)

// Cache remembers results of Classify, for up to 4096 texts of up to 16 KiB, 4 MiB together. When it is full it starts over, so an app that
// puts values into its texts costs time, not memory. The zero value is ready; it is safe for many goroutines.
type Cache struct {
	mu    sync.RWMutex
	texts map[string]*Statement
	bytes int
}

// Get returns the Statement of text, the same one each time while it is remembered.
func (c *Cache) Get(text string) *Statement {
	c.mu.RLock()
	st := c.texts[text]
	c.mu.RUnlock()
	if st != nil {
		return st
	}
	st = Classify(text)
	if len(text) > maxTextBytes {
		return st
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.texts[text]; known != nil {
		return known
	}
	if c.texts == nil || len(c.texts) >= maxTexts || c.bytes+len(text) > maxAllBytes {
		c.texts, c.bytes = make(map[string]*Statement, 64), 0
	}
	c.bytes += len(text)
	c.texts[text] = st
	return st
}
