"""The user's four functions, however they are called: in the API's processes and in the prediction processes.

Only `loading` imports `app`. May import: the top level of `denzel`.
"""
