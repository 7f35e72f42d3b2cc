package project

var ParseProbe = parseProbe
