// Package topology reads topology files: which hosts there are, and which role runs on which of them.
//
// In goes the YAML text of a file, out comes a Topology that makes sense, or every fault of the file in one go, each
// with its line, its column and the line itself. Files are not opened here, and nothing is asked of the hosts.
package topology
