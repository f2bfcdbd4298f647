"""Read model of the reports: what the terminal and the web page show of the records. Pure.

`protocol` is the contract of a store's reports, `queries` and `rows` are its values; `money`,
`numbers` and `periods` turn values into text and text into values. The SQL is in the store.
"""
