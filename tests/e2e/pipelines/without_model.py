"""A pipeline whose model is missing, because nobody has put it into the assets yet."""


def verify_input(json_data):
    return json_data


def load_model():
    with open("./app/assets/missing.pkl", "rb") as file:
        return file.read()


def process(model, json_data):
    return json_data


def predict(model, data):
    return data
