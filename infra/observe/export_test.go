package observe

// ParseSettings is what Settings does with what a host prints.
var ParseSettings = parseSettings
