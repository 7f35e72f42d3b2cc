// Package report shows rounds to people. A result.Round goes in; out comes text for a terminal (Text, List), a page that
// needs no network (HTML), and what is seen while a round runs (Live, Line). It is pure: it opens no file, knows no terminal
// and keeps nothing. Everything in a round is taken as hostile, since error texts quote what a server sent.
package report
