// Package load sends hits and counts what came back. Users (closed loop) or arrival times (open loop) go in; hits go out over
// raw HTTP/1.1 connections, one keep-alive connection per virtual user and origin; histograms, error groups and a verdict
// about the generator itself come out.
//
// It knows connections, cookies and conditional requests, not the app behind them: what an answer must contain is told by
// the check that comes with each request, and what a hit is worth is decided by the caller.
package load
