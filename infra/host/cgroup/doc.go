// Package cgroup holds processes to an amount of CPU and memory, tells what they used, and finds and ends them all. It knows
// control groups of version 1 (a tree per controller) and 2 (one tree) and writes their files; it needs root.
//
// A group of a host has the limits. Below it are leaves, one per service: they have no limits of their own, but tell who
// was killed: out of memory and who used the CPU. Services of one host compete for its CPU as they would on a machine:
// leaves do not split it where the kernel lets that be left out.
package cgroup
