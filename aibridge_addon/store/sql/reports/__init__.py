"""SQL of the reports: turns the queries of `report` into rows. Reads only.

`selection` turns a query's filters into SQL conditions; each report is a module of its own, whose
function receives a connection and a query. `reports` puts them together.
"""
