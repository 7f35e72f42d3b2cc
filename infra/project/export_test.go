package project

var ParseProbe = parseProbe

// RolesScript is rolesScript.
const RolesScript = rolesScript
