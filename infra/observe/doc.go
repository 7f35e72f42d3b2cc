// Package observe does to the hosts of a project what a round needs: its steps (build, deploy, restart), marking and fetching
// logs, asking databases, reading the settings that are in effect, recording profiles. It works through host.Host alone, so
// the hosts need no program of isukit. What came out of it is digested and kept by others.
package observe
