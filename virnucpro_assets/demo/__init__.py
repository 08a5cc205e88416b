"""The embedded default: small real data and tiny models, so that everything runs from the first minute.

The models are for trying the platform, not for science. What is shipped is in `data` and
`models` beside this file, and `paths` says where; how it was made is in `tools/demo` of the repository.
"""
