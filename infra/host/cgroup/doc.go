// Package cgroup limits processes to an amount of CPU and memory, reads what they used, and finds and ends them all. It knows control
// groups of version 1 (a tree per controller) and 2 (one tree) and writes their files; it needs root.
//
// A group of a host has the limits. Below it are leaves, one per service, without limits: they show which service was killed for lack of
// memory or used the CPU. Services of one host compete for its CPU as they would on a machine: leaves do not split it where the kernel
// allows that.
package cgroup
