"""Prints what ecCodes reads from every message of a GRIB file, one JSON object a line."""

import json
import sys

import eccodes

KEYS = [
    "discipline", "parameterCategory", "parameterNumber", "typeOfFirstFixedSurface", "level", "dataDate", "dataTime",
    "centre", "productionStatusOfProcessedData", "Ni", "Nj", "scanningMode", "bitsPerValue", "gridType",
    "section2Length", "shapeOfTheEarth", "resolutionAndComponentFlags", "dataRepresentationTemplateNumber", "binaryScaleFactor",
    "decimalScaleFactor", "productDefinitionTemplateNumber", "typeOfGeneratingProcess", "typeOfProcessedData",
    "typeOfEnsembleForecast", "perturbationNumber", "numberOfForecastsInEnsemble", "derivedForecast",
    "probabilityType", "scaleFactorOfLowerLimit", "scaledValueOfLowerLimit", "scaleFactorOfUpperLimit",
    "scaledValueOfUpperLimit", "percentileValue", "typeOfStatisticalProcessing", "indicatorOfUnitForTimeRange",
    "lengthOfTimeRange", "yearOfEndOfOverallTimeInterval", "hourOfEndOfOverallTimeInterval",
]
# ecCodes names some codes; their numbers are wanted.
INTEGERS = {key: int for key in ["typeOfProcessedData", "typeOfEnsembleForecast"]}
MISSING = 1e30


def numbers(array):
    return [None if value == MISSING else float(value) for value in array]


with open(sys.argv[1], "rb") as file:
    while (message := eccodes.codes_grib_new_from_file(file)) is not None:
        eccodes.codes_set(message, "missingValue", MISSING)
        found = {key: eccodes.codes_get(message, key, INTEGERS.get(key)) for key in KEYS if eccodes.codes_is_defined(message, key)}
        # Changes the units of time in the message's copy.
        eccodes.codes_set(message, "stepUnits", "m")
        for key in ["startStep", "endStep"]:
            found[key] = eccodes.codes_get(message, key, int)
        for key in ["values", "latitudes", "longitudes"]:
            found[key] = numbers(eccodes.codes_get_array(message, key))
        print(json.dumps(found))
        eccodes.codes_release(message)
