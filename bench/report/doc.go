// Package report shows rounds to people. From a result.Round it makes text for a terminal (Text, List), a page that needs no network
// (HTML), and the view of a round in progress (Live, Line). It is pure: it opens no file, knows no terminal and saves nothing. It takes
// everything in a round as hostile, since error texts quote what a server sent.
package report
