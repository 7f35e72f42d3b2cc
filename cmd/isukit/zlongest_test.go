package main

import "testing"

// The tests that take longest. go test takes files by their names, and once all other tests have run, lets parallel ones begin in the
// reverse of their order: the last one of the last file is first. What would begin late would run alone at the end.

func TestForeignAppOnMySQL(t *testing.T) {
	t.Parallel()
	foreignAppOnMySQL(t)
}

func TestCompareTuningsOfAProject(t *testing.T) {
	t.Parallel()
	compareTuningsOfAProject(t)
}

func TestTopologyOverSSH(t *testing.T) {
	t.Parallel()
	topologyOverSSH(t)
}

func TestRealHosts(t *testing.T) {
	t.Parallel()
	realHosts(t)
}

func TestTuneProjectOverSSH(t *testing.T) {
	t.Parallel()
	tuneProjectOverSSH(t)
}

func TestProjectScreen(t *testing.T) {
	t.Parallel()
	projectScreen(t)
}

func TestForeignApp(t *testing.T) {
	t.Parallel()
	foreignPlacements(t)
}

func TestForeignDay(t *testing.T) {
	t.Parallel()
	foreignDay(t)
}
